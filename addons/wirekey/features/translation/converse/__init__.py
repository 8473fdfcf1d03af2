"""Bedrock's Converse, by the service model of botocore."""
