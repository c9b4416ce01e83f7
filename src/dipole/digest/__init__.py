"""Digests: people leave an e-mail address and get, once a day or week, what is new and near to what they asked for."""
