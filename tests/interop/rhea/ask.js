// Asks ADDRESS each question, one for each further argument, all at once; prints the answers as they come, in JSON.
const rhea = require('rhea');

const [port, address, ...questions] = process.argv.slice(2);
const connection = rhea.connect({ host: '127.0.0.1', port });
const receiver = connection.open_receiver({ source: { dynamic: true } });
let answered = 0;

rhea.on('receiver_open', () => connection.open_sender(address));
rhea.once('sendable', ({ sender }) => {
    questions.forEach((body, message_id) => sender.send({ body, message_id, reply_to: receiver.source.address }));
});
rhea.on('message', ({ message }) => {
    console.log(JSON.stringify({ question: questions[message.correlation_id], answer: message.body }));
    answered += 1;
    if (answered === questions.length) connection.close();
});
