"""What a program sets once for its whole process."""
