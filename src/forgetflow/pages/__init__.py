"""Every HTML page, over finished results."""
