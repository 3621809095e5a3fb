"""Attribution: how much each training record moves each query, as train x query scores."""
