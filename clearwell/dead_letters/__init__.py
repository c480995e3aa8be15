"""Dead letters as people use them: judge what arrives, open, mend, preview, and send again."""
