// Receives messages from ADDRESS and prints each, in JSON; ends after so many. What becomes of one is its `subject`.
const rhea = require('rhea');

const [port, address, count] = process.argv.slice(2);
const settle = {
    accept: (delivery) => delivery.accept(),
    reject: (delivery) => delivery.reject({ condition: 'rhea:no', description: 'not this one' }),
    release: (delivery) => delivery.release(),
    modify: (delivery) => delivery.modified({ delivery_failed: true, undeliverable_here: true }),
};
let received = 0;

const connection = rhea.connect({ host: '127.0.0.1', port, initial_reconnect_delay: 10, max_reconnect_delay: 100 });
connection.open_receiver({ source: address, autoaccept: false });

rhea.on('receiver_open', () => console.log(JSON.stringify({ attached: address })));
rhea.on('message', ({ delivery, message }) => {
    const size = Buffer.isBuffer(message.body) ? message.body.length : undefined;
    console.log(JSON.stringify({ id: message.message_id, body: size ?? message.body }));
    settle[message.subject ?? 'accept'](delivery);
    received += 1;
    if (received === Number(count)) connection.close();
});
