"""Watch an object grow: what there is of it, and which parts of it are final."""

from pydantic import BaseModel, Field

import gemma_structured as gs


class Recipe(BaseModel):
    """A dish and what goes into it."""

    title: str = Field(max_length=40)
    ingredients: list[str] = Field(min_length=1, max_length=4)


model = gs.LocalModel("embedded")
read_recipe = model.compile(
    Recipe,
    instruction="Find the dish and its ingredients.",
    examples=[
        gs.Example(
            "For a pancake you need flour, milk and eggs.",
            Recipe(title="pancake", ingredients=["flour", "milk", "eggs"]),
        ),
        gs.Example(
            "Our lemonade: water, lemons, sugar.",
            Recipe(title="lemonade", ingredients=["water", "lemons", "sugar"]),
        ),
    ],
)
with read_recipe.stream("A good bread is made of rye, water and salt.") as stream:
    for event in stream:
        if isinstance(event, gs.Restarted):
            print("again, because of", event.issues)
        elif event.delta:
            final = [path for path in event.closed if path]
            print(repr(event.delta), "→", event.value, "final:", len(final))
    recipe = stream.result().output
print(recipe)
