// ps, and a generation as it is made: KERNOS_SOCKET=… node docs/clients/example.mjs "What is a page fault?"
import { connect, SyscallError } from "./kernos.mjs";

const kernel = await connect(process.env.KERNOS_SOCKET ?? `${process.env.XDG_RUNTIME_DIR}/kernos/kernel.sock`);
try {
  const { processes } = await kernel.call("process.list", { all: true });
  for (const { pid, principal, state, name } of processes)
    console.log(String(pid).padStart(5), principal.padEnd(10), state.padEnd(8), name);

  const question = process.argv[2] ?? "What is a process?";
  const turns = [{ role: "user", parts: [{ type: "text", text: question }] }];
  const answer = kernel.stream("model.generate", { turns, max_tokens: 60 });
  let step;
  while (!(step = await answer.next()).done) process.stdout.write(step.value.text);
  const { prompt_tokens = 0, generated_tokens = 0 } = step.value.usage;
  console.log(`\n[${step.value.finish}: ${prompt_tokens}+${generated_tokens} tokens]`);
} catch (error) {
  if (!(error instanceof SyscallError)) throw error;
  console.error(`refused with ${error.errno}: ${error.message}`);
  process.exitCode = 1;
} finally {
  kernel.close();
}
