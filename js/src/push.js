export { connect, readConfig } from "./connect.js";
