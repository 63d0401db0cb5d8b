"""The calculator of the page about the daily allowance: RAM in, snapshots a day out, by the package's own rule.

```{quota-calculator}
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from pulumi_snapshots.run.quota import MEMORY_PER_PAIR

if TYPE_CHECKING:
    from sphinx.application import Sphinx

EXAMPLE = 2048
"""MB of RAM that the page begins with."""
ALLOWANCE = f"Math.floor(ram / {MEMORY_PER_PAIR}) * 2"
"""`allowance_of` in JavaScript; a test compares the two."""
CALCULATOR = f"""
<form class="calculator" id="quota">
  <label for="ram">Plan RAM in MB</label> <input id="ram" type="number" min="0" step="{MEMORY_PER_PAIR}" value="{EXAMPLE}">
  <label for="databases">Databases</label> <input id="databases" type="number" min="1" value="1">
  <output for="ram databases"></output>
</form>
<script>
(() => {{
  const form = document.getElementById("quota");
  const show = () => {{
    const ram = Number(form.elements.ram.value), databases = Math.max(1, Math.floor(form.elements.databases.value));
    const allowance = {ALLOWANCE}, each = Math.floor(allowance / databases);
    const hours = each && Math.ceil(240 / each) / 10;
    const share = each > 1 ? `each database ${{each}} times, one every ${{hours}} hours`
      : each ? "each database once" : `not enough for ${{databases}} databases`;
    form.querySelector("output").textContent = `${{allowance}} snapshots in any 24 hours: ${{share}}.`;
  }};
  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  show();
}})();
</script>
<noscript>Divide the plan's RAM by {MEMORY_PER_PAIR} MB, leave out the remainder, and double it.</noscript>
"""


class QuotaCalculator(SphinxDirective):
    """The calculator."""

    def run(self) -> list[nodes.Node]:
        """Make it."""
        return [nodes.raw("", CALCULATOR, format="html")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx of it."""
    app.add_directive("quota-calculator", QuotaCalculator)
    return {"parallel_read_safe": True}
