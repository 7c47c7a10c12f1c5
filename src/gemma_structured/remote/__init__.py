"""The wire to a model elsewhere: requests, answers, transport, prices. No torch, no prompting."""
