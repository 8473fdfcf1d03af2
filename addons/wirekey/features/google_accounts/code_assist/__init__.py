"""Code Assist: the API that serves Gemini models to Google accounts and Google Cloud projects."""
