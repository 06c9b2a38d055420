"""What turns loops into something that runs."""
