"""AWS Signature Version 4: verifies agents' signatures and signs requests for the provider. No I/O.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""
