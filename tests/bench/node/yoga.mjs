// GraphQL Yoga on node:http, parser and validation cache on (its default), logging and GraphiQL off.
import { createServer } from 'node:http'
import { createSchema, createYoga } from 'graphql-yoga'
import { context, port, typeDefs, withLoader } from './graph.mjs'

const yoga = createYoga({
  schema: createSchema({ typeDefs, resolvers: withLoader }),
  context,
  logging: false,
  graphiql: false,
  landingPage: false,
  maskedErrors: false,
})
createServer(yoga).listen(port, '127.0.0.1')
