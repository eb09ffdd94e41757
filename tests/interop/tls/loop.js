// Sends a message to itself over TLS, and prints it, in JSON. FILE has a certificate to show and its key.
const fs = require('fs');
const rhea = require('rhea');

const [port, ca, file] = process.argv.slice(2);
const [trusted, shown] = [fs.readFileSync(ca), fs.readFileSync(file)];

const connection = rhea.connect({
    transport: 'tls', host: 'localhost', servername: 'localhost', port, ca: trusted, cert: shown, key: shown, reconnect: false,
});
connection.open_receiver('x');
connection.open_sender('x');

rhea.once('sendable', ({ sender }) => sender.send({ body: 'hello' }));
rhea.on('message', ({ message }) => console.log(JSON.stringify(message.body)));
rhea.on('accepted', () => connection.close());
