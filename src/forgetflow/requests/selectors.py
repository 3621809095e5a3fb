"""From what a request names to the records it means."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cached_property

import numpy as np

from forgetflow.errors import InputError
from forgetflow.records.record_set import RecordSet
from forgetflow.records.schema import RecordSchema
from forgetflow.requests.request import Request, Selector
from forgetflow.requests.where import check_where, where_mask


class Resolver:
    """Looks selectors up in one record set; indexes are built once, when first needed."""

    def __init__(self, records: RecordSet) -> None:
        self.records = records

    def resolve(self, selector: Selector) -> list[str]:
        """Return the sorted ids of the records the selector means; none is an empty list.

        Raises:
            InputError: a `where` expression that cannot be used on these columns.
        """
        match selector.kind:
            case "record":
                return [selector.value] if selector.value in self._record_ids else []
            case "subject":
                return list(self._by_subject.get(selector.value, ()))
            case "label":
                index = label_index(selector.value, self.records.schema)
                mask = self.records.labels == (-1 if index is None else index)
            case "where":
                mask = where_mask(selector.value, self.records)
        ids = self.records.record_ids
        return sorted(ids[i] for i in np.flatnonzero(mask))

    @cached_property
    def _record_ids(self) -> frozenset[str]:
        return frozenset(self.records.record_ids)

    @cached_property
    def _by_subject(self) -> Mapping[str, list[str]]:
        index: defaultdict[str, list[str]] = defaultdict(list)
        for record, subject in sorted(
            zip(self.records.record_ids, self.records.subject_ids, strict=True)
        ):
            index[subject].append(record)
        return index


def resolve(selector: Selector, records: RecordSet) -> list[str]:
    """Return the sorted ids of the records one selector means; see `Resolver.resolve`."""
    return Resolver(records).resolve(selector)


def resolve_all(
    requests: Iterable[Request], records: RecordSet
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Resolve many requests; one that cannot be resolved does not stop the others.

    Returns:
        request id -> sorted record ids, and request id -> why it could not be resolved.
    """
    resolver = Resolver(records)
    selected: dict[str, list[str]] = {}
    problems: dict[str, str] = {}
    for request in requests:
        try:
            selected[request.request_id] = resolver.resolve(request.selector)
        except InputError as error:
            problems[request.request_id] = str(error)
    return selected, problems


def label_index(label: str, schema: RecordSchema) -> int | None:
    """Return the class index of a class name, or of an index written as text; None if neither."""
    if label in schema.class_names:
        return schema.class_names.index(label)
    if label.isascii() and label.isdigit() and len(label) < 10:
        index = int(label)
        return index if index < len(schema.class_names) else None
    return None


def check_selector(selector: Selector, schema: RecordSchema) -> None:
    """Refuse a selector that can never mean anything under `schema`, while its author listens.

    Raises:
        InputError: an unknown class, or an expression of a form or with columns not allowed.
    """
    if selector.kind == "where":
        check_where(selector.value, schema)
    if selector.kind == "label" and label_index(selector.value, schema) is None:
        shown = ", ".join(schema.class_names[:20])
        more = ", ..." if len(schema.class_names) > 20 else ""
        raise InputError(f"label: no such class; there are {shown}{more}")
