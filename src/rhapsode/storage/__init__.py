"""Where media are kept: one API over a local folder and S3-like stores."""
