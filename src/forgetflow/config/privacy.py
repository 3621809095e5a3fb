"""Block `privacy`: deadlines and pseudonyms."""

from pydantic import Field

from forgetflow.config.base import Block, Positive


class PrivacySettings(Block):
    """Deadlines and pseudonyms."""

    due_days: Positive = Field(30, description="Days from receipt to the due date.")
    key_file: str = Field(
        ".forgetflow/pseudonym.key",
        description="Secret for keyed pseudonyms (HMAC-SHA256); made on first use, never in git.",
    )
