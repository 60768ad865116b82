// Apollo Server, its standalone server, documents cached (its default), CSRF prevention and landing page off.
import { ApolloServer } from '@apollo/server'
import { ApolloServerPluginLandingPageDisabled } from '@apollo/server/plugin/disabled'
import { startStandaloneServer } from '@apollo/server/standalone'
import { context, port, typeDefs, withLoader } from './graph.mjs'

const server = new ApolloServer({
  typeDefs,
  resolvers: withLoader,
  introspection: false,
  csrfPrevention: false,
  plugins: [ApolloServerPluginLandingPageDisabled()],
})
await startStandaloneServer(server, { listen: { port, host: '127.0.0.1' }, context: async () => context() })
