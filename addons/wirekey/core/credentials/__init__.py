"""Provider credentials: key pools, AWS credentials, credential headers, and masking."""
