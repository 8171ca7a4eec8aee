// Package wire makes started servers one platform: Cassandra a ring with its keyspace, MySQL a pair of which one follows the
// other through the link, the regions' parameters set, the application served to customers. It does so over the network alone,
// so that it is the same for processes, for containers and for a compose file's one-shot service; who starts the servers is
// nobody's business here.
//
// Every wait is bounded by its context and ends with what was last seen.
package wire
