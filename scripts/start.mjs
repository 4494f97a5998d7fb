// `npm start`: the main job on the default model. `npm start -- <any runoff command>` passes the command through.
import { main } from '../dist/cli/main.js';

const given = process.argv.slice(2);
await main(given.length > 0 ? given : ['run', '--yes']);
