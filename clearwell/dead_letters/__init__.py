"""Dead letters from their topic on: verified, copied, opened, changed, previewed, and sent again."""
