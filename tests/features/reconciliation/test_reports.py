"""The reports of each provider are read as its documentation shows them; other files are refused by name."""

import json

import pytest

from wirekey.features.reconciliation.reports import ReportError, read_report
from wirekey.features.reconciliation.usage import Group, UsedTokens, base_name

OPENAI_COSTS = {
    "object": "page",
    "data": [
        {
            "object": "bucket",
            "start_time": 1730419200,
            "end_time": 1730505600,
            "results": [
                {
                    "object": "organization.costs.result",
                    "amount": {"value": 0.06, "currency": "usd"},
                    "line_item": "gpt-4o-mini-2024-07-18, input",
                    "project_id": None,
                },
                {
                    "object": "organization.costs.result",
                    "amount": {"value": 0.02, "currency": "usd"},
                    "line_item": "gpt-4o-mini-2024-07-18, output",
                    "project_id": None,
                },
            ],
        }
    ],
    "has_more": False,
    "next_page": None,
}
OPENAI_USAGE = {
    "object": "page",
    "data": [
        {
            "object": "bucket",
            "start_time": 1730419200,
            "end_time": 1730505600,
            "results": [
                {
                    "object": "organization.usage.completions.result",
                    "input_tokens": 1000,
                    "output_tokens": 500,
                    "input_cached_tokens": 800,
                    "input_audio_tokens": 0,
                    "output_audio_tokens": 0,
                    "num_model_requests": 5,
                    "project_id": None,
                    "user_id": None,
                    "api_key_id": "key_abc",
                    "model": "gpt-4o-mini-2024-07-18",
                    "batch": None,
                }
            ],
        }
    ],
    "has_more": False,
    "next_page": None,
}
ANTHROPIC_USAGE = {
    "data": [
        {
            "starting_at": "2025-08-01T00:00:00Z",
            "ending_at": "2025-08-02T00:00:00Z",
            "results": [
                {
                    "uncached_input_tokens": 1500,
                    "cache_creation": {"ephemeral_1h_input_tokens": 1000, "ephemeral_5m_input_tokens": 500},
                    "cache_read_input_tokens": 200,
                    "output_tokens": 500,
                    "server_tool_use": {"web_search_requests": 10},
                    "api_key_id": "apikey_1",
                    "workspace_id": None,
                    "model": "claude-opus-4-20250514",
                    "service_tier": "standard",
                    "context_window": "0-200k",
                }
            ],
        }
    ],
    "has_more": False,
    "next_page": None,
}
ANTHROPIC_COSTS = {
    "data": [
        {
            "starting_at": "2025-08-01T00:00:00Z",
            "ending_at": "2025-08-02T00:00:00Z",
            "results": [
                {
                    "currency": "USD",
                    "amount": "123.78912",
                    "workspace_id": None,
                    "description": "Claude Sonnet 4 Usage - Input Tokens",
                    "cost_type": "tokens",
                    "model": "claude-sonnet-4-20250514",
                    "token_type": "uncached_input_tokens",
                }
            ],
        }
    ],
    "has_more": False,
    "next_page": None,
}
CUR = """\
identity/LineItemId,lineItem/UsageStartDate,lineItem/ProductCode,lineItem/UsageType,lineItem/UsageAmount,lineItem/UnblendedCost
a,2026-03-01T00:00:00Z,AmazonBedrock,USE1-NovaLite-input-tokens,12.5,0.75
b,2026-03-01T13:00:00Z,AmazonBedrock,USE1-NovaLite-output-tokens,1.5,0.36
c,2026-03-01T00:00:00Z,AmazonEC2,BoxUsage:t3.micro,24,0.2496
"""
CUR_2 = """\
line_item_usage_start_date,line_item_product_code,line_item_line_item_description,line_item_unblended_cost
2026-03-02 00:00:00.000,8ab,"Claude Sonnet 4 (Amazon Bedrock Edition), Million Input Tokens",3.30
"""
EXPLORER = """\
"Service","Bedrock($)","EC2-Instances($)","Total costs($)"
"Service total","1.5","2.5","4.0"
"2026-03-01","1.11","2.0","3.11"
"2026-03-02","0.39","0.5","0.89"
"""
BILLING = """\
service.description,sku.description,usage_start_time,cost,currency
Vertex AI,Gemini 2.5 Flash Lite GA Text Input - Predictions,2026-03-01 08:00:00 UTC,0.25,USD
Gemini API,Generate content output token count Gemini 2.5 Pro short input,2026-03-01T09:00:00Z,1.5,USD
Vertex AI,Online prediction,2026-03-01 08:00:00 UTC,0.1,USD
Compute Engine,N1 core,2026-03-01 08:00:00 UTC,9,USD
"""


@pytest.mark.parametrize(
    ("provider", "report", "expected"),
    [
        (
            "openai",
            OPENAI_COSTS,
            [
                (Group("2024-11-01", "gpt-4o-mini-2024-07-18"), UsedTokens(cost_usd=0.06)),
                (Group("2024-11-01", "gpt-4o-mini-2024-07-18"), UsedTokens(cost_usd=0.02)),
            ],
        ),
        (
            "openai",
            OPENAI_USAGE,
            [(Group("2024-11-01", "gpt-4o-mini-2024-07-18", "key_abc"), UsedTokens(1000, 500, requests=5))],
        ),
        (
            "anthropic",
            ANTHROPIC_USAGE,
            [(Group("2025-08-01", "claude-opus-4-20250514", "apikey_1"), UsedTokens(3200, 500))],
        ),
        (
            "anthropic",
            ANTHROPIC_COSTS,
            [(Group("2025-08-01", "claude-sonnet-4-20250514"), UsedTokens(cost_usd=pytest.approx(1.2378912)))],
        ),
        (
            "bedrock",
            CUR,
            [(Group("2026-03-01"), UsedTokens(cost_usd=0.75)), (Group("2026-03-01"), UsedTokens(cost_usd=0.36))],
        ),
        ("bedrock", CUR_2, [(Group("2026-03-02"), UsedTokens(cost_usd=3.3))]),
        (
            "bedrock",
            EXPLORER,
            [(Group("2026-03-01"), UsedTokens(cost_usd=1.11)), (Group("2026-03-02"), UsedTokens(cost_usd=0.39))],
        ),
        (
            "gemini",
            BILLING,
            [
                (Group("2026-03-01", "gemini-2.5-flash-lite"), UsedTokens(cost_usd=0.25)),
                (Group("2026-03-01", "gemini-2.5-pro"), UsedTokens(cost_usd=1.5)),
                (Group("2026-03-01"), UsedTokens(cost_usd=0.1)),
            ],
        ),
    ],
)
def test_a_report_is_read(provider, report, expected):
    content = report if isinstance(report, str) else json.dumps(report)
    assert read_report(provider, content.encode(), "report") == expected


def test_several_pages_may_be_a_list_or_lines():
    pages = [OPENAI_COSTS, OPENAI_USAGE]
    as_list = read_report("openai", json.dumps(pages).encode(), "report")
    as_lines = read_report("openai", "\n".join(map(json.dumps, pages)).encode(), "report")
    assert as_list == as_lines
    assert len(as_list) == 3


@pytest.mark.parametrize(
    ("provider", "content", "says"),
    [
        ("openai", b"", "Save the JSON of /v1/organization/costs"),
        ("openai", b'{"data": [{"start_time": 1, "results": [{"object": "other"}]}]}', "unknown kind 'other'"),
        ("openai", b"\xff", "is not a report of openai"),
        ("openai", json.dumps(OPENAI_COSTS).replace("usd", "eur").encode(), "it is in EUR"),
        ("anthropic", b"[1]", "is not a report of anthropic"),
        ("bedrock", b"Service,EC2\n2026-03-01,1\n", "no column for Bedrock"),
        ("bedrock", CUR.replace("2026-03-01T00", "yesterday").encode(), "is no time"),
        ("gemini", b"a,b\n1,2\n", "Export the table of the standard billing export"),
    ],
)
def test_another_file_is_refused_with_what_is_expected(provider, content, says):
    with pytest.raises(ReportError, match=says):
        read_report(provider, content, "report.json")


@pytest.mark.parametrize(
    ("model", "base"),
    [
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5"),
        ("claude-sonnet-4-5@20250929", "claude-sonnet-4-5"),
        ("amazon.nova-lite-v1:0", "nova-lite"),
        ("gemini-2.0-flash-001", "gemini-2.0-flash"),
        ("models/gemini-2.5-pro", "gemini-2.5-pro"),
        ("mistral-large-latest", "mistral-large"),
        ("gpt-4.1", "gpt-4.1"),
        ("o3", "o3"),
    ],
)
def test_models_are_compared_without_their_snapshots(model, base):
    assert base_name(model) == base
