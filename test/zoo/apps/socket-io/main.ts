import { createServer } from "node:http";
import { Server } from "socket.io";

const server = createServer((_, response) => void response.end("ready"));
const sockets = new Server(server);
sockets.on("connection", (socket) => {
  socket.on("say", (words: string, answer: (words: string) => void) => answer(words));
});
server.listen(Number(process.env.PORT), "127.0.0.1");
process.once("SIGTERM", () => sockets.close());
