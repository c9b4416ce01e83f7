"""Terms over what the encoder returned, beside the losses over pairs: spread, decorrelation, structure. A slot of its own in recipes."""
