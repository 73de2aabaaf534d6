"""Who may call, as whom, and how much: keys, scopes, and the rule about open addresses. See docs/access.md."""
