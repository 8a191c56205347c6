"""What is deployed elsewhere: the files in `deploy/`, judged by those who would read them."""
