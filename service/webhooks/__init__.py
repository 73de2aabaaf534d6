"""Where webhooks may go, how they are signed and sent; nothing here knows what a job is.

`destinations` checks a URL, `addresses` and `names` what it leads to, `sending` makes the connection to the very
address that was checked, `signing` follows Standard Webhooks. docs/webhooks.md is the page on it.
"""
