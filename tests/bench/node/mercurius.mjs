// Mercurius with graphql-jit from the first query on, users by its own loaders.
import Fastify from 'fastify'
import mercurius from 'mercurius'
import { port, resolvers, typeDefs, usersById } from './graph.mjs'

const app = Fastify({ logger: false })
app.register(mercurius, {
  schema: typeDefs,
  resolvers,
  loaders: {
    Post: {
      user: {
        async loader(queries) {
          const ids = queries.map(({ obj }) => obj.userId)
          const distinct = [...new Set(ids)]
          const users = await usersById(distinct)
          const byId = new Map(distinct.map((id, index) => [id, users[index]]))
          return ids.map((id) => byId.get(id))
        },
        opts: { cache: false },
      },
    },
  },
  jit: 1,
})
await app.listen({ port, host: '127.0.0.1' })
