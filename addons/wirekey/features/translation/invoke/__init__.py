"""Bedrock's InvokeModel with a body of Anthropic's Messages."""
