"""What the page Findings shows: claims with their verdicts, and what people say about them."""
