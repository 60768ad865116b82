// The schema and the resolvers that all three Node rivals share: undici with keep-alive, users batched by DataLoader.
import DataLoader from 'dataloader'
import { Pool } from 'undici'

const upstream = new Pool(process.env.UPSTREAM, { connections: 256, pipelining: 1 })

export async function get(path) {
  const { body } = await upstream.request({ path, method: 'GET' })
  return body.json()
}

export const typeDefs = `
  type Query {
    posts: [Post]
    feed(n: Int!): [Post]
    rows(n: Int!): [Row]
    thing(id: Int!): Thing
    version: String
    customer360(customer_id: ID!): Customer360
    chain(id: ID!): Chain
  }
  type Post { id: Int! userId: Int! title: String! body: String! user: User }
  type User { id: Int! name: String! username: String! email: String! }
  type Row { id: Int! userId: Int! title: String! }
  type Thing { id: Int! name: String! size: Int! }
  type Delayed { id: ID! name: String! tier: String! score: Int! next: ID! }
  type Customer360 { account: Delayed transactions: Delayed fraud: Delayed risk: Delayed }
  type Chain { first: Delayed second: Delayed third: Delayed }
`

export const resolvers = {
  Query: {
    posts: () => get('/posts'),
    feed: (_, { n }) => get(`/posts?n=${n}`),
    rows: (_, { n }) => get(`/rows/${n}`),
    thing: (_, { id }) => get(`/things/${id}`),
    version: () => '1.0',
    customer360: (_, { customer_id }) => ({ id: customer_id }),
    chain: async (_, { id }) => {
      const first = await get(`/after/30/${id}`)
      const second = await get(`/after/20/${first.next}`)
      return { first, second, third: await get(`/after/10/${second.next}`) }
    },
  },
  Customer360: {
    account: ({ id }) => get(`/after/30/accounts/${id}`),
    transactions: ({ id }) => get(`/after/50/transactions/${id}`),
    fraud: ({ id }) => get(`/after/20/fraud/${id}`),
    risk: ({ id }) => get(`/after/5/risk/${id}`),
  },
}

export async function usersById(ids) {
  const users = await get(`/users?${ids.map((id) => `id=${id}`).join('&')}`)
  const byId = new Map(users.map((user) => [user.id, user]))
  return ids.map((id) => byId.get(id) ?? null)
}

export const withLoader = {
  ...resolvers,
  Post: { user: ({ userId }, _, { users }) => users.load(userId) },
}

export const context = () => ({ users: new DataLoader(usersById) })

export const port = Number(process.env.PORT)
