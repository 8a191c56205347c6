"""Quality and completeness checks, shown on the assets they speak of."""
