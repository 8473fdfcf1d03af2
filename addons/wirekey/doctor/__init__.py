"""What is wrong between programs, this machine, Wirekey and the providers, and how to mend it."""
