// Ask the service for pages and parts of pages.
const parser = new DOMParser();

export class Refusal extends Error {
  constructor(status) {
    super(`the service answers ${status}`);
    this.status = status;
  }
}

// Answers nothing where who reads is signed out: the page itself is asked for, which leads to where one signs in.
export async function ask(address, cache = "default") {
  const answer = await fetch(address, { cache, headers: { accept: "text/html" } });
  if (answer.redirected || answer.status === 401) {
    location.reload();
    return null;
  }
  if (!answer.ok) throw new Refusal(answer.status);
  return parser.parseFromString(await answer.text(), "text/html");
}
