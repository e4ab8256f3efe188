"""What KMS does for a session, with one key: data keys that only the same encryption context opens again."""

import json
import os
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from toolbox.errors import ToolboxError
from toolbox.lab.contract import KeyDenied, SessionKey
from toolbox.session.encryption import DATA_KEY_BYTES, DataKey

KEY = SessionKey("arn:aws:kms:eu-central-1:123456789012:key/sessions", "ecs:cluster_task_task-0123456789", None)


class KeyRing:
    """The contexts that it was asked with are in `asked`; `refusal` is what it answers the client with, if not None."""

    def __init__(self) -> None:
        self._master = AESGCM(AESGCM.generate_key(256))
        self.asked: list[Mapping[str, str]] = []
        self.refusal: ToolboxError | None = None

    async def data_key(self, key_id: str, context: Mapping[str, str]) -> DataKey:
        """kms:GenerateDataKey."""
        self.asked.append(context)
        if self.refusal is not None:
            raise self.refusal
        plain, nonce = os.urandom(DATA_KEY_BYTES), os.urandom(12)
        return DataKey(plain, nonce + self._master.encrypt(nonce, plain, _bound(key_id, context)))

    async def decrypt(self, key: SessionKey, blob: bytes, context: dict[str, str]) -> bytes:
        """kms:Decrypt."""
        try:
            return self._master.decrypt(blob[:12], blob[12:], _bound(key.key_id, context))
        except InvalidTag as error:
            raise KeyDenied("InvalidCiphertextException: ") from error


def _bound(key_id: str, context: Mapping[str, str]) -> bytes:
    return json.dumps([key_id, sorted(context.items())]).encode()
