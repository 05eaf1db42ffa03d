// Small help for building elements.

type Attributes = Record<string, string>;

export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function find<T extends Element>(id: string, type: new () => T): T {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`the page lacks #${id}`);
  return element;
}

/** Shows a failure to the user; an empty message clears it. */
export function alertUser(problem: unknown): void {
  const box = find("alert", HTMLParagraphElement);
  box.textContent = problem instanceof Error ? problem.message : String(problem);
  box.hidden = box.textContent === "";
}

/** A button whose work may fail: disabled meanwhile, the failure is shown. */
export function button(
  label: string,
  work: (self: HTMLButtonElement) => Promise<void>,
  kind = "",
): HTMLButtonElement {
  const self = make("button", { type: "button", class: kind }, label);
  self.addEventListener("click", () => {
    self.disabled = true;
    alertUser("");
    work(self)
      .catch(alertUser)
      .finally(() => {
        self.disabled = false;
      });
  });
  return self;
}
