import { listen } from "./page.js";
import "./wire.js";

listen();
