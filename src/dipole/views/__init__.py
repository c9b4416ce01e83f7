"""Views: how positives arise from rows, and how encoded sides pair up."""
