"""See what will be sent before it is, and what it cost afterwards."""

import gemma_structured as gs

model = gs.LocalModel("embedded")
is_urgent = model.compile(
    bool, instruction="Is it urgent?", examples=[gs.Example(input="Fire!", output=True)]
)

mail = "No hurry at all."
print(is_urgent.prompt(mail))
print(is_urgent.count_tokens(mail), "tokens")

result = is_urgent(mail)
usage = result.usage
print(result.output, "by", result.model_name)
print(f"{usage.prompt_tokens} tokens read, {usage.cached_tokens} of them from the cache")
print(f"{usage.sampled_tokens} sampled, {usage.forced_tokens} forced by the grammar")
print(f"{usage.forward_passes} forward passes, {usage.seconds:.2f} s")
