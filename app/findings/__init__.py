"""The page Findings: claims with their verdicts and comments."""
