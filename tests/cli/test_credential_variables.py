"""Which names of variables are those of credentials."""

from __future__ import annotations

import pytest

from wirekey.cli.credential_variables import is_credential, is_secret_name
from wirekey.providers.registry import PROVIDERS

VALUE = "sk-of-the-user-1a2b3c"
OF_PROVIDERS = [
    "AZURE_OPENAI_API_KEY",
    "AZURE_OPENAI_AD_TOKEN",
    "AZURE_INFERENCE_CREDENTIAL",
    "AZURE_CLIENT_SECRET",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "CO_API_KEY",
    "FAL_KEY",
    "GIGACHAT_CREDENTIALS",
    "HF_TOKEN",
    "HUGGINGFACEHUB_API_TOKEN",
    "QIANFAN_AK",
    "QIANFAN_SK",
    "WATSONX_APIKEY",
    "LITELLM_MASTER_KEY",
    "PORTKEY_VIRTUAL_KEY",
    "COPILOT_GITHUB_TOKEN",
    "VERCEL_OIDC_TOKEN",
    "OPENAI_API_KEYS",
    "OPENAI_API_KEY_2",
    "OPENAI_KEY1",
    "mistral_api_key",
    "MYAPIKEY",
    "GEMINI_API_KEY_BACKUP_2",
    "ANTHROPIC_API_KEY_V2",
    "OPENAI_API_KEY_B64",
    "KEY",
    "TOKEN",
    "APIKEY",
]


@pytest.mark.parametrize(
    "name", [*OF_PROVIDERS, *(name for each in PROVIDERS.values() for name in each.credentials.variables.own)]
)
def test_a_name_of_a_credential_is_known(name):
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "AWS_PROFILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "MISTRAL_SA_TOKEN_PATH",
        "mistral_sa_token_path",
    ],
)
def test_a_variable_that_leads_to_a_credential_is_one_whatever_its_value_is(name):
    assert is_credential(name, "dev")


@pytest.mark.parametrize(
    "name",
    [
        "SSH_AUTH_SOCK",
        "SSH_AGENT_PID",
        "GPG_KEY",
        "GITHUB_TOKEN",
        "NPM_TOKEN",
        "SSH_PUBLIC_KEY",
        "OPENAI_API_KEY_FILE",
        "KEYBOARD",
        "KEYTIMEOUT",
        "TOKENIZERS_PARALLELISM",
        "SECRETARY",
        "PASSKEY_HELP",
        "XAUTHORITY",
        "DBUS_SESSION_BUS_ADDRESS",
        "OPENAI_BASE_URL",
    ],
)
def test_a_name_that_only_looks_like_one_is_not(name):
    assert not is_secret_name(name)


@pytest.mark.parametrize("value", ["", "v2", "true", "32000", "1048576000"])
def test_a_value_that_is_short_or_a_number_is_no_credential(value):
    assert is_credential("MAX_TOKENS", VALUE)
    assert not is_credential("MAX_TOKENS", value)
