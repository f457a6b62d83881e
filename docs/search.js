// What is typed into the search are words. The search's own language reads quotes as "must have", a minus as "must not have" and a colon as
// a field's name, so it would find nothing for a pasted line of a log.

// Of a line of a log, and of a task's status, only the message is searched for.
const AROUND_MESSAGES = [/^\s*\[[^\]]*\] [A-Z]+ +(?:\[[^\]]*\] )?(.*?)(?: \([\w.$:]+\))?\s*$/, /^.*"trace" *: *"((?:[^"\\]|\\.)*)".*$/];
const SEPARATORS = /[\s"'*+\-:^~(){}\[\]\\/,;=]+/;
const MAX_WORDS = 60;
// Words that are everywhere. Others that say little, as "no" and "must", tell one sentence from the next.
const FILLERS = new Set(["a", "an", "and", "at", "for", "in", "is", "it", "of", "on", "that", "the", "this", "to", "which", "with"]);

function words(typed) {
  const message = AROUND_MESSAGES.reduce((text, around) => text.replace(around, "$1"), typed);
  const all = message.split(SEPARATORS).filter(Boolean).slice(0, MAX_WORDS);
  const found = all.length > 3 ? all.filter((word) => !FILLERS.has(word.toLowerCase())) : all;
  return found.map((word, at) => (isWhole(word, at, found.length) ? `${word}^1` : word)).join(" ");
}

// A word finds all that begins with it. In a sentence that would be too much: there only the last word may still be the beginning of one.
function isWhole(word, at, count) {
  return count > 3 && (word.length < 4 || (count > 5 && at < count - 1));
}

const QUERY = 2; // the type of a message of Material to its search worker
const post = Worker.prototype.postMessage;
Worker.prototype.postMessage = function (message, ...rest) {
  const sent = message.type === QUERY ? { ...message, data: words(message.data) } : message;
  return post.call(this, sent, ...rest);
};
