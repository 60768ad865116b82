const query = document.querySelector("#query");
const answer = document.querySelector("#answer");
const json = (response) => response.json();
const show = (value) => (answer.textContent = typeof value === "string" ? value : JSON.stringify(value, null, 2));
let variables = {};

fetch("/playground/examples")
  .then(json)
  .then(([first]) => {
    query.value ||= first.query;
    variables = first.variables;
  });

const run = async (event) => {
  event?.preventDefault();
  show("…");
  const request = { query: query.value, variables, extensions: { trace: true } };
  const headers = { "content-type": "application/json", accept: "application/graphql-response+json" };
  await fetch("/graphql", { method: "POST", headers, body: JSON.stringify(request) })
    .then(json)
    .then(show, () => show("The gateway does not answer."));
};
document.querySelector("form").addEventListener("submit", run);
query.addEventListener("keydown", (event) => (event.ctrlKey || event.metaKey) && event.key === "Enter" && run());
