import express from "express";

const app = express();
app.set("trust proxy", true);
app.use(express.static("public", { maxAge: "1h" }));
app.get("/ready", (_, response) => void response.send("ready"));
app.get("/page", (_, response) => void response.send("the same words each time"));
app.post("/echo", express.json(), (request, response) => void response.status(201).json(request.body));
const server = app.listen(Number(process.env.PORT), "127.0.0.1");
process.once("SIGTERM", () => server.close());
