// Sends messages, one for each argument after PORT and ADDRESS, each of which says in JSON what is in it; prints what
// became of each, in JSON, and ends when that is known of all.
const rhea = require('rhea');

const [port, address, ...messages] = process.argv.slice(2);
const left = messages.map((message) => JSON.parse(message));
let unknown = left.length;

const connection = rhea.connect({ host: '127.0.0.1', port });
connection.open_sender({ target: address, treat_modified_as_released: false });

rhea.on('sendable', ({ sender }) => {
    while (left.length && sender.sendable()) {
        const { size, ...message } = left.shift();
        sender.send(size ? { ...message, body: Buffer.alloc(size, 'x') } : message);
    }
});
for (const outcome of ['accepted', 'rejected', 'released', 'modified']) {
    rhea.on(outcome, ({ delivery }) => {
        const { delivery_failed, undeliverable_here, error } = delivery.remote_state;
        const { condition, description } = error ?? {};
        console.log(JSON.stringify({ outcome, delivery_failed, undeliverable_here, condition, description }));
    });
}
rhea.on('settled', () => {
    unknown -= 1;
    if (!unknown) connection.close();
});
