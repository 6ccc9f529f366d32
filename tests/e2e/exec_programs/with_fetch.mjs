// A Node program that asks until its budget is used up.
const ask = () => fetch(`${process.env.OPENAI_BASE_URL}/chat/completions`, {
  method: "POST",
  headers: { authorization: `Bearer ${process.env.OPENAI_API_KEY}`, "content-type": "application/json" },
  body: JSON.stringify({ model: process.env.KERNOS_MODEL, max_tokens: 16, messages: [{ role: "user", content: "What holds tea?" }] }),
});
let answered = 0;
for (;;) {
  const response = await ask();
  const said = await response.json();
  if (response.status !== 200) {
    console.log(JSON.stringify({ answered, status: response.status, code: said.error.code }));
    process.exit(7);
  }
  answered += 1;
}
