"""AWS Signature Version 4: verified where an agent signed, made anew for the provider. No I/O.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""
