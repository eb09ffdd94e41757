// Answers each request to ADDRESS with what it said, in capitals, over one sender for all who ask.
const rhea = require('rhea');

const [port, address] = process.argv.slice(2);
const connection = rhea.connect({ host: '127.0.0.1', port });
const sender = connection.open_sender({ target: {} });
connection.open_receiver(address);

rhea.on('message', ({ message }) => {
    if (!message.reply_to) return;
    sender.send({ to: message.reply_to, correlation_id: message.message_id, body: message.body.toUpperCase() });
});
